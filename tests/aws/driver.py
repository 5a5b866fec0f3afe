"""A client of S3 and SQS that is not the one under test: boto3.

Started with the address of the server. It reads one command a line, a JSON object whose "do" names a
function below and whose other members are its arguments, and answers each with one line:
{"ok": what it returned} or {"error": why not}. It ends with its standard input. Bytes of objects are in
files, and the command has their paths.
"""

import json
import shutil
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# A server that stands still must not hold up the test that asks.
CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 2},
    s3={"addressing_style": "path"},
)
SETTINGS = dict(
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=CONFIG,
)
S3 = boto3.client("s3", **SETTINGS)
SQS = boto3.client("sqs", **SETTINGS)

# The least that S3 accepts as a part, the last one aside.
PART_SIZE = 5 << 20
# The most messages that SQS takes or gives in one request.
BATCH = 10


def create_bucket(bucket, versioned):
    S3.create_bucket(Bucket=bucket)
    if versioned:
        S3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def notify(bucket, queue_arn, events):
    rule = {"Id": "hints", "QueueArn": queue_arn, "Events": events}
    S3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )


def put(bucket, key, path):
    with open(path, "rb") as body:
        answer = S3.put_object(Bucket=bucket, Key=key, Body=body)
    return head(bucket, key, answer.get("VersionId"))


def put_multipart(bucket, key, path):
    upload = S3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    with open(path, "rb") as file:
        for number, body in enumerate([file.read(PART_SIZE), file.read()], start=1):
            part = S3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": part["ETag"]})
    answer = S3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return head(bucket, key, answer.get("VersionId"))


def copy(bucket, source, version, key):
    answer = S3.copy_object(
        Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": source, **of(version)}
    )
    return head(bucket, key, answer.get("VersionId"))


def delete(bucket, key, version):
    return S3.delete_object(Bucket=bucket, Key=key, **of(version)).get("VersionId")


def versions(bucket, key):
    found = []
    for page in S3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        # The server has one list, newest first. boto3 makes two of it, so they are put together again.
        for members, marker in [("Versions", False), ("DeleteMarkers", True)]:
            found += [(entry, marker) for entry in page.get(members, []) if entry["Key"] == key]
    found.sort(key=lambda pair: (pair[0]["IsLatest"], pair[0]["LastModified"]), reverse=True)
    return [
        {
            "id": entry["VersionId"],
            "latest": entry["IsLatest"],
            "marker": marker,
            "etag": entry.get("ETag", "").strip('"'),
            "size": entry.get("Size", 0),
        }
        for entry, marker in found
    ]


def head(bucket, key, version):
    try:
        answer = S3.head_object(Bucket=bucket, Key=key, **of(version))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    return told(answer)


def get(bucket, key, version, path):
    answer = S3.get_object(Bucket=bucket, Key=key, **of(version))
    with open(path, "wb") as file:
        shutil.copyfileobj(answer["Body"], file)
    return told(answer)


def of(version):
    return {} if version is None else {"VersionId": version}


def told(answer):
    return {
        "version": answer.get("VersionId"),
        "etag": answer["ETag"].strip('"'),
        "size": answer["ContentLength"],
    }


def create_queue(queue, visibility_s):
    url = SQS.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": str(visibility_s)})["QueueUrl"]
    return {"url": url, "arn": attributes(url, "QueueArn")["QueueArn"]}


def send(url, bodies):
    for start in range(0, len(bodies), BATCH):
        entries = [
            {"Id": str(number), "MessageBody": body}
            for number, body in enumerate(bodies[start : start + BATCH])
        ]
        failed = SQS.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
        if failed:
            raise ValueError(f"messages are refused: {failed}")


def take(url):
    messages = SQS.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH).get("Messages", [])
    for message in messages:
        SQS.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in messages]


def count(url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = attributes(url, *names)
    return {"visible": int(found[names[0]]), "invisible": int(found[names[1]])}


def purge(url):
    SQS.purge_queue(QueueUrl=url)


def attributes(url, *names):
    return SQS.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]


COMMANDS = [
    create_bucket, notify, put, put_multipart, copy, delete, versions, head, get,
    create_queue, send, take, count, purge,
]  # fmt: skip
BY_NAME = {command.__name__: command for command in COMMANDS}

for line in sys.stdin:
    arguments = json.loads(line)
    command = BY_NAME[arguments.pop("do")]
    try:
        answer = {"ok": command(**arguments)}
    # What AWS refuses and what does not reach it alike: the test says where it happened.
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
