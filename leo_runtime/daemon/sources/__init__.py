"""Where samples come from: a kind a file, each with its part of the config. `daemon.config` lists them."""
