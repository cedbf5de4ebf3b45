"""Where answers go: a kind a file, each with its part of the config. `daemon.config` lists them."""
