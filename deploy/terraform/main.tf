# The bucket of the components, the queue of its events, and what nodes, authors and operators may do with both.
# OPERATING.md explains each part, and has the same as commands of the AWS CLI.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

data "aws_caller_identity" "here" {}

data "aws_region" "here" {}

resource "aws_s3_bucket" "components" {
  bucket = var.bucket
}

# Without versions there is nothing to go back to.
resource "aws_s3_bucket_versioning" "components" {
  bucket = aws_s3_bucket.components.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "components" {
  bucket                  = aws_s3_bucket.components.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "components" {
  bucket     = aws_s3_bucket.components.id
  depends_on = [aws_s3_bucket_versioning.components]

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {
      prefix = var.prefix
    }

    noncurrent_version_expiration {
      noncurrent_days           = var.keep_days
      newer_noncurrent_versions = var.keep_versions
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# An event is worth nothing after a while, because nodes look by themselves. No dead letter queue: a node deletes
# what it cannot understand, and whatever comes again is not at fault.
resource "aws_sqs_queue" "events" {
  name                       = var.name
  message_retention_seconds  = 3600
  visibility_timeout_seconds = 60
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "EventsOfTheBucket"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.events.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.components.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.here.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.url
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_s3_bucket_notification" "components" {
  bucket     = aws_s3_bucket.components.id
  depends_on = [aws_sqs_queue_policy.events]

  queue {
    id            = "components"
    queue_arn     = aws_sqs_queue.events.arn
    events        = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    filter_prefix = var.prefix
    filter_suffix = ".wasm"
  }

  queue {
    id            = "signatures"
    queue_arn     = aws_sqs_queue.events.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = var.prefix
    filter_suffix = ".minisig"
  }
}

data "aws_iam_policy_document" "node" {
  statement {
    sid       = "ReadComponents"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${aws_s3_bucket.components.arn}/${var.prefix}*"]
  }

  statement {
    sid       = "ListComponents"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions"]
    resources = [aws_s3_bucket.components.arn]
  }

  statement {
    sid       = "TakeEvents"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = [aws_sqs_queue.events.arn]
  }
}

data "aws_iam_policy_document" "author" {
  statement {
    sid       = "ReadAndPublishComponents"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.components.arn}/${var.prefix}*"]
  }

  statement {
    sid = "ListComponents"
    actions = [
      "s3:ListBucket",
      "s3:ListBucketVersions",
      "s3:GetBucketVersioning",
      "s3:GetBucketNotification",
    ]
    resources = [aws_s3_bucket.components.arn]
  }

  statement {
    sid       = "LookAtTheQueue"
    actions   = ["sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.events.arn]
  }
}

data "aws_iam_policy_document" "operator" {
  statement {
    sid       = "RemoveComponents"
    actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    resources = ["${aws_s3_bucket.components.arn}/${var.prefix}*"]
  }

  statement {
    sid       = "EmptyTheQueue"
    actions   = ["sqs:GetQueueAttributes", "sqs:PurgeQueue"]
    resources = [aws_sqs_queue.events.arn]
  }
}

resource "aws_iam_policy" "node" {
  name   = "${var.name}-node"
  policy = data.aws_iam_policy_document.node.json
}

resource "aws_iam_policy" "author" {
  name   = "${var.name}-author"
  policy = data.aws_iam_policy_document.author.json
}

resource "aws_iam_policy" "operator" {
  name   = "${var.name}-operator"
  policy = data.aws_iam_policy_document.operator.json
}
