output "queue_url" {
  description = "For [registry] queue of the manifest."
  value       = aws_sqs_queue.events.url
}

output "region" {
  description = "For [registry] region of the manifest."
  value       = data.aws_region.here.region
}

output "node_policy_arn" {
  description = "Attach it to the role of the nodes."
  value       = aws_iam_policy.node.arn
}

output "author_policy_arn" {
  description = "Attach it to the roles of authors, and of the job that publishes."
  value       = aws_iam_policy.author.arn
}

output "operator_policy_arn" {
  description = "Attach it to the roles of operators, beside the policy of authors."
  value       = aws_iam_policy.operator.arn
}
