"""Nothing here is a test: these are files that tests read."""

collect_ignore_glob = ["*"]
