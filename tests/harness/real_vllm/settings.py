"""What the environment tells the real engine, so that it is content with two cores that others need too."""

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # The scheduler's process does the steps, as with one GPU. By default a CPU's have one of their own,
    # and both spin while each waits for the other: nothing else ran on two cores for up to a minute.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
