"""Model archives: what they hold, what they cost, how they are loaded and predict."""
