"""The moderation console: a Django project and the apps in which people see and decide."""

# The one place of the version: the package's metadata, the pages' footer, /healthz and --version read it.
__version__ = "0.1.0"
