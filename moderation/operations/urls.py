"""What load balancers and supervisors ask."""

from django.urls import path

from moderation.operations import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
