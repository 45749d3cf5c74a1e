"""Is the record any good? What is wrong with a store of demonstrations, where, what to do, and a mended copy."""
