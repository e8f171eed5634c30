"""Variant: the same drain over a table in eight hash partitions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from push_readmodel.design import design as in_one_table
from push_readmodel.partitions import install_partitioned

PARTITIONS = 8

design = replace(
    in_one_table,
    name="push_readmodel:partitioned",
    summary=f"the read model in {PARTITIONS} hash partitions of its key",
    install=partial(install_partitioned, partitions=PARTITIONS),
)
