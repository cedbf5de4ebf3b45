"""Pure functions of a run or a profile: tables, plots, and traces for ui.perfetto.dev."""
