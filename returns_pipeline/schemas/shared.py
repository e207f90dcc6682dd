"""Columns that mean the same in every table that has them."""

from __future__ import annotations

from returns_pipeline.domain.money import CURRENCIES
from returns_pipeline.schemas import fields as f

ID = f.integer("Row number, in order of insertion", 1)
UNIT_KEY = f.name("The physical unit")
RETURN_ID = f.text("Happy Returns' id of the return")
ORDER_ID = f.name("Linnworks' order id")
ROW_ID = f.name("Linnworks' order item row id")
ORDER_KEY = f.text("Order number, folded for comparison")
SKU = f.text("Linnworks' SKU")
LOCATION_ID = f.text("Linnworks' stock location id")
CURRENCY = f.word("ISO 4217 currency", CURRENCIES)
POLICY_HASH = f.name("The policy that decided")
HASH = f.name("SHA-256 of the payload as received")
RUN_ID = f.text("The run that wrote it")
BUSINESS_DATE = f.day("Business day in the merchant's zone")
CREATED_AT = f.instant("When it was decided")
INTENT_KEY = f.name("The intent that carries it out").or_null
NOTE = f.text("What a person should know of it")
IS_LEDGERED = f.flag("Whether its ledger lines are entered")
SIDE = f.word("Debit or credit; never netted", ("debit", "credit"))
LIST = f.shaped("", r"\[[\s\S]*\]")
"""A JSON array as text."""
OBJECT = f.shaped("", r"\{[\s\S]*\}")
"""A JSON object as text."""
