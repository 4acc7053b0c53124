"""The WSGI application that gunicorn serves: `gunicorn moderation.wsgi`."""

from moderation.operations.wsgi import load

application = load(serves_pages=True)
