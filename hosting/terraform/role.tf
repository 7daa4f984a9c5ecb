resource "aws_iam_role" "execution" {
  count = var.create_role ? 1 : 0

  name_prefix        = "mme-"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })
  tags               = var.tags
}
resource "aws_iam_role_policy" "execution" {
  count = var.create_role ? 1 : 0

  name_prefix = "x"
  role        = aws_iam_role.execution[0].name
  policy      = jsonencode({ Version = "2012-10-17", Statement = [] })
}
