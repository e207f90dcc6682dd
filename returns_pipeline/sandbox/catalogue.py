"""What the merchant sells and where it keeps it: products, prices, Linnworks locations."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal

from returns_pipeline.sandbox.model import DEFAULT_LOCATION, Location, StockItem

RETAILER_ID = "modern-retailer"
SOURCE, SUB_SOURCE = "SHOPIFY", "modern-retailer"
LOCATION_NAMES = (
    "Default",
    "HR Restock",
    "HR B-Stock",
    "HR Quarantine",
    "HR Damaged",
    "HR Refurb",
    "HR Vendor",
)
RETURN_CATEGORIES = ((1, "Wrong size"), (2, "Damaged"), (3, "Changed mind"))


@dataclass(frozen=True, slots=True)
class Product:
    """One thing for sale. ``price`` is gross; ``tax`` in per cent."""

    sku: str
    title: str
    price: Decimal
    tax: Decimal
    cost: Decimal
    batched: bool = False
    children: tuple[tuple[str, int], ...] = ()


_SIZED = (  # stem, title, sizes, gross price, cost
    ("TEE-RED", "Tee red", ("S", "M", "L"), "19.99", "6.50"),
    ("TEE-NAVY", "Organic Tee navy", ("S", "M", "L"), "24.00", "7.25"),
    ("DRESS-GRN", "Dress green", ("S", "M", "L"), "59.97", "18.40"),
    ("SHOE-BLK", "Trainer black", ("40", "41", "42"), "65.00", "24.10"),
    ("JKT-OLV", "Rain jacket olive", ("M", "L"), "119.00", "41.00"),
)
_SINGLE = (  # SKU, title, gross price, cost, tax
    ("CAP-BLK", "Cap black", "14.00", "3.10", 20),
    ("SOCK-3", "Socks, three pairs", "9.99", "2.05", 20),
    ("MUG-BLU", "Mug blue", "8.50", "2.20", 20),
    ("PIN-01", "Enamel pin", "4.00", "0.60", 20),
    ("BOOK-01", "The knitting book", "14.00", "4.00", 0),
    ("KIDS-TEE-4", "Children's tee, 4 years", "12.50", "3.90", 0),
    ("TEA-01", "Loose tea 100 g", "6.75", "1.90", 0),
)
_VAT = Decimal(20)


def _products() -> list[Product]:
    sized = [
        Product(f"{stem}-{size}", f"{title} {size}", Decimal(price), _VAT, Decimal(cost))
        for stem, title, sizes, price, cost in _SIZED
        for size in sizes
    ]
    single = [
        Product(sku, title, Decimal(price), Decimal(tax), Decimal(cost))
        for sku, title, price, cost, tax in _SINGLE
    ]
    tablets = Product(
        "VIT-C-60", "Vitamin C, 60 tablets", Decimal("11.25"), _VAT, Decimal("3.30"), batched=True
    )
    kit = Product(
        "KIT-TEA",
        "Tea for two",
        Decimal("21.60"),
        _VAT,
        Decimal("6.30"),
        children=(("MUG-BLU", 2), ("TEA-01", 1)),
    )
    return [*sized, *single, tablets, kit]


PRODUCTS = {product.sku: product for product in _products()}
# The next size, which an exchange asks for; at the same price.
OTHER_SIZE = {
    f"{stem}-{size}": f"{stem}-{sizes[(number + 1) % len(sizes)]}"
    for stem, _title, sizes, _price, _cost in _SIZED
    for number, size in enumerate(sizes)
}


def stock_item_id(sku: str) -> str:
    """Linnworks' id of a product."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, sku))


def stock_items() -> dict[str, StockItem]:
    """The products as Linnworks knows them, by SKU."""
    return {
        sku: StockItem(
            id=stock_item_id(sku),
            int_id=51_200 + number,
            sku=sku,
            title=product.title,
            unit_cost=product.cost,
            batched=product.batched,
            children=product.children,
        )
        for number, (sku, product) in enumerate(PRODUCTS.items(), start=1)
    }


def locations() -> list[Location]:
    """The merchant's stock locations."""
    return [
        Location(
            DEFAULT_LOCATION if number == 0 else f"c5a0e9d8-4b3c-4d21-b7f6-6e5d4c3b2a{number:02d}",
            number,
            name,
        )
        for number, name in enumerate(LOCATION_NAMES)
    ]


def opening_stock() -> dict[tuple[str, str], int]:
    """What lies in the default location when the story begins; bundles lie nowhere."""
    return {
        (sku, DEFAULT_LOCATION): 100 for sku, product in PRODUCTS.items() if not product.children
    }
