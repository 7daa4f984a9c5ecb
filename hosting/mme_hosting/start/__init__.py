"""The beginning: what mme.yaml may say, written out, and what an account suggests for it."""
