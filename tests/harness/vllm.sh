#!/bin/sh
exec python3 -m harness.vllm_sim "$@"
