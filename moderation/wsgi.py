"""The WSGI application that gunicorn serves: `gunicorn moderation.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from moderation.operations.startup import refuse_unusable_database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")

application = get_wsgi_application()
refuse_unusable_database()
