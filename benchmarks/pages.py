"""A vendor in a process of its own that only sends prepared bytes: 100 items a page.

The shape is Happy Returns' outbound shipment (``data``, ``links.next``), so that both the
pipeline's client and dlt's ``rest_api`` source read it as they come. Nothing is computed
while it serves: what is measured is the reader.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

SHIPMENT = "shp-1"
_PATH = f"/outbound-shipment/{SHIPMENT}"
_SKUS = 400


def item(number: int) -> dict[str, object]:
    """One return item of about 1.1 KB: the contract's example, its bag's barcodes as an array."""
    unit = f"5f1e6f7c-2f0b-4a3c-8f53-{number:012x}"
    order = number // 2  # two units an order
    sku = f"SKU-{(order * 7 + number) % _SKUS:04d}"
    return {
        "purchasedDate": "2026-09-14",
        "orderNumber": f"#{100_000 + order}",
        "orderID": f"{6_120_045_000_000 + order}",
        "orderLineItemID": f"{15_502_348_000_000 + number}",
        "sku": sku,
        "upc": f"{850_012_340_000 + number % _SKUS:013d}",
        "productVariantID": f"{44_120_987_000_000 + number % _SKUS}",
        "labelBarcode": f"{850_012_340_000 + number % _SKUS:013d}",
        "productName": f"Organic Tee, heavy cotton, regular fit - Navy / M ({sku})",
        "returnReason": "Too small: I should have ordered the next size up",
        "returnReasonID": "too-small",
        "categoryID": "tops",
        "refundType": "refund",
        "oneClickExchange": "",
        "location": "Sample Store Austin, 1204 South Congress Avenue",
        "locationMetro": "Austin",
        "country": "US",
        "startedDate": "2026-09-25",
        "approvedDate": "2026-09-27",
        "dropoffMethod": "return-bar",
        "inspectionOutcome": "saleable",
        "poNumber": f"PO-{88_000 + number % 500}",
        "palletNumber": f"P-{number % 97:04d}",
        "shippingBoxBarcode": f"SB-{12_000_000 + number // 20}",
        "shippingBoxKind": "gaylord",
        "bagBarcodes": [f"HR2{order:010d}"],
        "tracking": f"1Z999AA1{number:010d}",
        "carrier": "ups",
        "departureDate": "2026-10-01",
        "happyReturnsRetailerID": "modern-retailer",
        "destinationAddressID": "addr-0001",
        "happyReturnsExpressCode": f"HR{order:06X}",
        "happyReturnsRMAID": f"rma-{order:08d}",
        "happyReturnsReturnID": f"ret-{order:08d}",
        "happyReturnsItemID": unit,
    }


def prepared(items: int, per_page: int) -> list[bytes]:
    """Whole HTTP responses, one a page."""
    pages = range(0, items, per_page)
    responses = []
    for page, start in enumerate(pages):
        document: dict[str, object] = {
            "data": [item(n) for n in range(start, min(items, start + per_page))]
        }
        if page + 1 < len(pages):
            document["links"] = {"next": f"{_PATH}?page[size]={per_page}&page[after]={page + 1}"}
        responses.append(_response(document))
    return responses


def _response(document: object) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _serve(ready: Connection, items: int, per_page: int) -> None:
    pages = prepared(items, per_page)
    shipments = _response({"data": [{"id": SHIPMENT, "departureDate": "2026-10-01"}]})
    listener = socket.create_server(("127.0.0.1", 0))
    ready.send((listener.getsockname()[1], sum(map(len, pages))))
    while True:
        connection, _ = listener.accept()
        args = (connection, pages, shipments)
        threading.Thread(target=_answer, args=args, daemon=True).start()


def _answer(connection: socket.socket, pages: list[bytes], shipments: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = b""
    with connection:
        while received := connection.recv(65536):
            waiting += received
            while b"\r\n\r\n" in waiting:  # only GETs: no request has a body
                request, _, waiting = waiting.partition(b"\r\n\r\n")
                target = request.split(b" ", 2)[1].replace(b"%5B", b"[").replace(b"%5D", b"]")
                if not target.startswith(_PATH.encode()):
                    connection.sendall(shipments)
                    continue
                _, _, after = target.partition(b"page[after]=")
                connection.sendall(pages[int(after.partition(b"&")[0] or 0)])


@contextmanager
def serving(items: int, per_page: int = 100) -> Iterator[tuple[str, int]]:
    """The server's address and the bytes all its pages have together."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, items, per_page), daemon=True
    )
    process.start()
    try:
        port, size = ours.recv()
        yield f"http://127.0.0.1:{port}", size
    finally:
        process.terminate()
        process.join()
