"""What gunicorn reads from the folder that it is started in, beside its command line."""

# The filters of a list are in its address, 50 pairs of ids among them: gunicorn's own limit is 4094, its highest 8190.
limit_request_line = 8190
