variable "bucket" {
  description = "The bucket of the components. The name is taken worldwide, so choose one of your own."
  type        = string
}

variable "prefix" {
  description = "Where the components are in the bucket. It ends in a slash. Other objects cause no events and are out of reach of the policies."
  type        = string
  default     = "functions/"

  validation {
    condition     = endswith(var.prefix, "/")
    error_message = "The prefix ends in a slash."
  }
}

variable "name" {
  description = "The name of the queue, and the start of the names of the policies."
  type        = string
  default     = "tidegate"
}

variable "keep_days" {
  description = "How many days an older version of a component is kept at least. A rollback goes no further back."
  type        = number
  default     = 90
}

variable "keep_versions" {
  description = "How many older versions of a component are kept however old they are."
  type        = number
  default     = 20
}
