"""The pages that `triptych demo` writes."""
