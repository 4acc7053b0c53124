"""Recalls and sweeps."""

from django.urls import path

from recall.views import recalls, review, sweeps, toast

urlpatterns = [
    path("recalls/", recalls.recall_list, name="recalls"),
    path("recalls/new/", review.recall_new, name="recall-new"),
    path("recalls/<uuid:pk>/", recalls.recall_detail, name="recall"),
    path("recalls/<uuid:pk>/toast/", toast.recall_toast, name="recall-toast"),
    path("recalls/<uuid:pk>/cancel/", recalls.recall_cancel, name="recall-cancel"),
    path("recalls/<uuid:pk>/retry/", recalls.recall_retry, name="recall-retry"),
    path("recalls/<uuid:pk>/settle/", recalls.recall_settle, name="recall-settle"),
    path("sweeps/new/", sweeps.sweep_new, name="sweep-new"),
    path("sweeps/<uuid:pk>/", sweeps.sweep_detail, name="sweep"),
    path("sweeps/<uuid:pk>/cancel/", sweeps.sweep_cancel, name="sweep-cancel"),
    path("sweeps/<uuid:pk>/retry/", sweeps.sweep_retry, name="sweep-retry"),
]
