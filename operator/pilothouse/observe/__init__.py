"""Reading the world: what is known of the cluster, put together for one decision."""
