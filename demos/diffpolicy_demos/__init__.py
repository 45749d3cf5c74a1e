"""Recorded experience: demonstrations in zarr, where they come from, and whether the world agrees with them."""

from diffpolicy_demos.attributes import pusht_attrs
from diffpolicy_demos.damage import Damage
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.opening import create_store, open_or_create, open_store
from diffpolicy_demos.store import Store

__all__ = ["Damage", "Store", "StoreError", "create_store", "open_or_create", "open_store", "pusht_attrs"]
