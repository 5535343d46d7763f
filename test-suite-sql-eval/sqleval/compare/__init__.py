"""What makes two results the same answer: rewriting of SQL text before it runs, and rules on rows. Pure functions."""
