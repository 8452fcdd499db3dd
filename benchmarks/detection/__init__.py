"""How well a canary is told from stable: false rollbacks, power, speed, beside the rules of others.

`make bench-detection` writes ../results/detection.md.
"""
