"""What the UI shows of a run: tables a person reads."""

from returns_pipeline.defs import metadata


def test_an_amount_beside_its_currency_is_written_and_named_as_one() -> None:
    told = metadata.table(
        [
            {"batch": "a", "currency": "GBP", "debit_minor": 41693},
            {"batch": "b", "currency": "JPY", "debit_minor": 3000},
        ]
    )
    assert told.value.splitlines() == [
        "| batch | currency | debit |",
        "| --- | --- | --- |",
        "| a | GBP | 416.93 |",
        "| b | JPY | 3000 |",
    ]


def test_an_amount_without_a_currency_stays_minor_units() -> None:
    assert "| debit_minor |" in metadata.table([{"debit_minor": 41693}]).value
    assert "| 41693 |" in metadata.table([{"debit_minor": 41693}]).value
