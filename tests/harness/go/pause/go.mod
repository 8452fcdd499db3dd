module pilothouse.dev/tests/harness/pause

go 1.25.0
