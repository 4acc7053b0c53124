"""A field with choices: the database refuses any other value, and the audit log has its label."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db.models import CheckConstraint, Model

from moderation.audit.events import fields_of
from recall.events import RecallRequested
from recall.models import Recall


@pytest.mark.parametrize("model", list(apps.get_app_config("recall").get_models()), ids=lambda model: model.__name__)
def test_the_database_knows_the_values_of_every_field_that_has_one_of_several(model: type[Model]) -> None:
    constraints = [each for each in model._meta.constraints if isinstance(each, CheckConstraint)]
    for field in model._meta.local_fields:
        if field.choices and not field.blank:
            values = sorted(value for value, _label in field.flatchoices)
            assert any(
                (f"{field.name}__in", values) in [(child[0], sorted(child[1])) for child in each.condition.children]
                for each in constraints
                if len(each.condition.children) == 1
            ), f"{model.__name__}.{field.name} has no constraint that it is one of {values}."


def test_the_audit_log_has_labels_for_the_choices_of_a_recall() -> None:
    labels = {field.name: field.meta.value_labels() for field in fields_of(RecallRequested) if field.meta}
    for field in Recall._meta.local_fields:
        if field.choices and field.name in labels:
            assert dict(field.flatchoices) == dict(labels[field.name]), (
                f"RecallRequested.{field.name} shows codes: give its Detail the choices (recall/events.py)."
            )
