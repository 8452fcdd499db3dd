"""Gateway dialects: what of a tenant's limits each kind of gateway can hold, and with which objects."""
