"""The forms of the web page, each with its CSRF token. What they mean is ``steps.queue``'s."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from returns_pipeline.domain.decisions import KINDS, Kind
from returns_pipeline.domain.model import Owner

_WHY = [InputRequired("Say why: it is kept."), Length(max=500)]


class Plain(FlaskForm):
    """A button."""

    seen = HiddenField(validators=[Length(max=20)])


class SignIn(FlaskForm):
    """Who it is."""

    name = StringField("Name", validators=[InputRequired("Give your name."), Length(max=80)])
    password = PasswordField(
        "Password", validators=[InputRequired("Give your password."), Length(max=200)]
    )


class Assign(Plain):
    """To whom it goes."""

    to = StringField("Give it to", validators=[Length(max=80)])
    owner = SelectField(
        "or hand it over to",
        choices=[SelectChoice("", "the same team"), *(SelectChoice(one.value) for one in Owner)],
    )


class Snooze(Plain):
    """How long it sleeps, and why."""

    hours = SelectField(
        "For",
        choices=[
            SelectChoice("4", "4 hours"),
            SelectChoice("24", "a day"),
            SelectChoice("72", "3 days"),
            SelectChoice("168", "a week"),
            SelectChoice("336", "two weeks"),
        ],
        default="24",
    )
    reason = StringField("Why", validators=_WHY)


class Resolve(Plain):
    """What is decided; which of the answers are needed depends on the kind."""

    kind = SelectField(
        "Decide", choices=[SelectChoice(kind.value, KINDS[kind].title) for kind in Kind]
    )
    unit = StringField("Unit", validators=[Length(max=200)])
    row_id = StringField("Order line", validators=[Length(max=80)])
    order = StringField("Order", validators=[Length(max=80)])
    disposition = StringField("Condition", validators=[Length(max=40)])
    amount = StringField("Amount", validators=[Length(max=20)])
    vendor_id = StringField("Number in Linnworks", validators=[Length(max=80)])
    reason = StringField("Why", validators=_WHY)

    def answers(self) -> dict[str, str]:
        """What was answered, without what was left empty."""
        names = ("unit", "row_id", "order", "disposition", "amount", "vendor_id")
        return {name: text for name in names if (text := (self[name].data or "").strip())}
