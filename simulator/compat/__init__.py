"""What other programs would say: their closed forms, with their known defects named and each one curable."""
