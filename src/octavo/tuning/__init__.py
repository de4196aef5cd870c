"""The best model within a budget: a space of recipes, a study of trials, a strategy, and what measures for it."""
