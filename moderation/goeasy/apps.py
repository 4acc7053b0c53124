from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GoEasyConfig(AppConfig):
    name = "moderation.goeasy"
    verbose_name = _("GoEasy")
