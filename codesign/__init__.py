"""The closed loop: studies, ledger, Pareto fronts, reports and the command line."""
