"""What every component costs, and where each number comes from."""
