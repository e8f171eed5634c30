"""A defect: workers that drain the first of two shards only."""

from dataclasses import replace

from push_readmodel.design import worker_role
from push_readmodel.variants.sharded import design as sharded

design = replace(sharded, name="first_shard_only", roles=[worker_role("push_readmodel.worker")])
