"""The asset graph, reading left to right.

capture · orders · returns · matching · inventory · exchanges · finance · control: one
module a group. How a step becomes an asset is ``build``'s.
"""

from returns_pipeline.defs.assets import (
    capture,
    control,
    exchanges,
    exports,
    finance,
    inventory,
    matching,
    orders,
    returns,
)

ASSETS = (
    *capture.ASSETS,
    *orders.ASSETS,
    *returns.ASSETS,
    *matching.ASSETS,
    *inventory.ASSETS,
    *exchanges.ASSETS,
    *finance.ASSETS,
    *exports.ASSETS,
    *control.ASSETS,
)
