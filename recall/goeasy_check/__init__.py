"""Which of the console's assumptions about GoEasy hold for one application: `manage.py goeasy_check`."""
