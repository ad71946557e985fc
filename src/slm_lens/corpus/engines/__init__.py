"""Who runs the shards: this process, or a pool of processes."""
