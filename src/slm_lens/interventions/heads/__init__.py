"""What heads attend to, and what is lost without them."""
