"""Accounting programs as their importers are documented: what they refuse, what they post.

Each reads a file's bytes as the program does and books it. They share no code with the
exporters: a rule misread there must not be misread here the same way. Amounts are pence.
"""

import csv
import io
import re
from collections import defaultdict
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import ClassVar

Books = dict[str, int]

# Names of the worked example's accounts, as a bookkeeper typed them in.
CHART = {
    "1001": "Inventory - Sellable",
    "1002": "Inventory - Returns Damaged",
    "1003": "Inventory - Returns Quarantine",
    "1004": "Inventory - B-Stock",
    "1010": "Returned Goods In Transit",
    "1260": "Refund Clearing - Shopify Payments",
    "1261": "Refund Clearing - PayPal",
    "2200": "VAT Output",
    "2310": "Store Credit Liability",
    "2320": "Exchange Clearing",
    "4100": "Sales Returns",
    "4101": "Sales Returns - Zero Rated",
    "4110": "Shipping Refunded",
    "4120": "Return Fee Income",
    "5050": "COGS - Returns",
    "5210": "Returns Write-off",
    "8290": "VAT Rounding Difference",
    "8300": "FX Difference",
    "9998": "Suspense",
}


class Rejected(AssertionError):  # noqa: N818 (it says what the program did)
    """The program does not import the file."""


def refuse(unless: bool, why: str) -> None:  # noqa: FBT001
    if not unless:
        raise Rejected(why)


def cells(content: bytes, encoding: str = "utf-8") -> list[list[str]]:
    text = content.decode(encoding)
    refuse(text.endswith("\r\n"), "the last line has no end")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def pence(text: str, digits: int) -> int:
    refuse(re.fullmatch(rf"-?\d{{1,{digits}}}\.\d\d", text) is not None, f"no amount: {text!r}")
    return int(Decimal(text) * 100)


def day(text: str, form: str = "%d/%m/%Y") -> date:
    return datetime.strptime(text, form).date()  # noqa: DTZ007 (a date has no zone)


class Xero:
    """Manual journals: rows of one narration and date are one journal; VAT is added by line."""

    RATES: ClassVar = {
        "20% (VAT on Income)": 20,
        "5% (VAT on Income)": 5,
        "Zero Rated Income": 0,
        "Exempt Income": 0,
        "No VAT": 0,
    }
    HEADINGS = (
        "*Narration",
        "*Date",
        "Description",
        "*AccountCode",
        "*TaxRate",
        "*Amount",
        "TrackingName1",
        "TrackingOption1",
        "TrackingName2",
        "TrackingOption2",
    )
    SYSTEM = ("610", "800", "820")  # receivable, payable, VAT: no manual journal touches them

    def __init__(self) -> None:
        self.books: Books = defaultdict(int)
        self.vat = 0
        self.journals: list[tuple[str, date]] = []

    def import_file(self, content: bytes) -> None:
        head, *rows = cells(content)
        refuse(tuple(head) == self.HEADINGS, "the headings are not the template's")
        refuse(0 < len(rows) <= 300, f"{len(rows)} lines")
        drafts: dict[tuple[str, date], list[tuple[str, int, int]]] = defaultdict(list)
        for narration, on, _, code, rate, amount, *_tracking in rows:
            refuse(narration != "" and code != "" and len(code) <= 10, "a field is missing")
            refuse(code not in self.SYSTEM, f"{code} is a system account")
            refuse(rate in self.RATES, f"no tax rate {rate!r}")
            net = pence(amount, 13)
            tax = (Decimal(net) * self.RATES[rate] / 100).quantize(Decimal(1), ROUND_HALF_UP)
            drafts[narration, day(on)].append((code, net, int(tax)))
        for key, lines in drafts.items():
            total = sum(net + tax for _, net, tax in lines)
            refuse(total == 0, f"{key[0]} is out by {total} after tax")
            self.journals.append(key)
            for code, net, tax in lines:
                self.books[code] += net
                self.vat += tax


class QuickBooks:
    """Journal entries: accounts by name, a journal's rows together, numbers used once."""

    HEADINGS = (
        "JournalNo",
        "JournalDate",
        "AccountName",
        "Debits",
        "Credits",
        "Description",
        "Name",
        "Currency",
        "Location",
        "Class",
    )

    def __init__(self, form: str = "%d/%m/%Y") -> None:
        self.form = form
        self.books: Books = defaultdict(int)
        self.numbers: dict[str, date] = {}

    def import_file(self, content: bytes) -> None:
        head, *rows = cells(content)
        refuse(tuple(head) == self.HEADINGS, "the headings are not those mapped")
        codes = {name: code for code, name in CHART.items()}
        before, totals = "", defaultdict(int)
        for number, on, account, debit, credit, _, who, currency, *_dims in rows:
            refuse(0 < len(number) <= 21, f"{number!r} is no journal number")
            refuse(number == before or number not in self.numbers, f"{number} stands twice")
            before, self.numbers[number] = number, day(on, self.form)
            refuse(account in codes, f"no account {account!r}")
            refuse(who == "" and re.fullmatch("[A-Z]{3}", currency) is not None, "name or currency")
            refuse((debit == "") != (credit == ""), "one of debit and credit")
            amount = pence(debit, 13) if debit else -pence(credit, 13)
            refuse((amount > 0) == (debit != ""), "a negative amount")
            self.books[codes[account]] += amount
            totals[number] += amount
        refuse(not any(totals.values()), "out of balance")


class Sage50:
    """Audit trail transactions: typed rows of fixed widths; sales credits bear their own VAT."""

    WIDTHS = (2, 8, 8, 3, 10, 30, 60, 11, 3, 11, 11, 30, 32)
    RATES: ClassVar = {"T0": 0, "T1": 20, "T2": 0, "T5": 5, "T9": 0}
    DEBTORS, VAT = "1100", "2200"
    BANKS = ("1200", "1299", "1260", "1261")

    def __init__(self) -> None:
        self.books: Books = defaultdict(int)
        self.customers: Books = defaultdict(int)
        self.vat_return = 0  # what reaches it: less output VAT

    def import_file(self, content: bytes) -> None:
        head, *rows = cells(content, "cp1252")
        refuse(len(head) == len(self.WIDTHS), "the columns are not A to M")
        journals: dict[tuple[str, date], int] = defaultdict(int)
        for row in rows:
            for width, cell in zip(self.WIDTHS, row, strict=True):
                refuse(len(cell) <= width, f"{cell!r} is longer than {width}")
            kind, customer, nominal, department, on, reference, _, net, code, tax, *_ = row
            refuse(department.isdigit() and int(department) <= 999, "no department")
            refuse(nominal != "" and " " not in nominal, "no nominal code")
            refuse(code in self.RATES, f"no tax code {code!r}")
            found, vat = pence(net, 8), pence(tax, 8)
            refuse(found >= 0 and vat >= 0, "a negative amount")
            refuse(found + vat > 0, "a line of nothing")
            at = day(on)
            if kind in {"JD", "JC"}:
                refuse(customer == "" and vat == 0, "a journal has neither customer nor tax")
                signed = found if kind == "JD" else -found
                self.books[nominal] += signed
                journals[reference, at] += signed
                continue
            refuse(customer != "", f"{kind} has no customer")
            if kind in {"SC", "SI"}:
                refuse(code != "T9", "outside the VAT return")
                sign = 1 if kind == "SC" else -1
                self.books[nominal] += sign * found
                self.books[self.VAT] += sign * vat
                self.vat_return += sign * vat
                self.books[self.DEBTORS] -= sign * (found + vat)
                self.customers[customer] -= sign * (found + vat)
            elif kind in {"SP", "SA"}:
                refuse(nominal in self.BANKS, f"{nominal} is no bank account")
                sign = 1 if kind == "SP" else -1
                self.books[nominal] -= sign * found
                self.books[self.DEBTORS] += sign * found
                self.customers[customer] += sign * found
            else:
                raise Rejected(f"{kind} cannot be imported")
        refuse(not any(journals.values()), "a journal is out of balance")


class NetSuite:
    """Journal entries: at least two lines, balanced; an external id is imported once."""

    HEADINGS = (
        "External ID",
        "Date",
        "Memo",
        "Subsidiary",
        "Currency",
        "Account",
        "Debit",
        "Credit",
        "Line Memo",
        "Location",
    )

    def __init__(self) -> None:
        self.books: Books = defaultdict(int)
        self.entries: dict[str, tuple[date, str]] = {}

    def import_file(self, content: bytes) -> None:
        head, *rows = cells(content)
        refuse(tuple(head) == self.HEADINGS, "the headings are not those mapped")
        names = {f"{code} {name}": code for code, name in CHART.items()}
        lines: dict[str, list[int]] = defaultdict(list)
        for key, on, _, _, _currency, account, debit, credit, *_ in rows:
            refuse(self.entries.get(key) is None, f"{key} was imported before")
            refuse(account in names, f"no account {account!r}")
            refuse((debit == "") != (credit == ""), "one of debit and credit")
            amount = pence(debit, 10) if debit else -pence(credit, 10)
            refuse((amount > 0) == (debit != ""), "a negative amount")
            self.books[names[account]] += amount
            lines[key].append(amount)
            day(on)
        for key, amounts in lines.items():
            refuse(len(amounts) >= 2 and sum(amounts) == 0, f"{key} does not balance")
            self.entries[key] = (day(rows[0][1]), rows[0][4])
