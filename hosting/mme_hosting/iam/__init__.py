"""Who may do what with an endpoint: IAM's documents, made for the endpoint that mme.yaml describes.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""
