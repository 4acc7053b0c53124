"""Sign-in, sign-out, password and preferences."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from moderation.accounts import views

urlpatterns = [
    path("login/", views.login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", views.change_password, name="password_change"),
    path("preferences/", views.preferences, name="preferences"),
    path("language/", views.choose_language, name="set-language"),
]
