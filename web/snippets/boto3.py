import os
import boto3

client = boto3.client(
    "bedrock-runtime",
    endpoint_url="GATEWAY_URL",
    region_name="eu-central-1",
    aws_access_key_id=os.environ["TOLLGATE_KEY"],
    aws_secret_access_key="-",
)
answer = client.converse(
    modelId="MODEL_NAME",
    messages=[{"role": "user", "content": [{"text": "Hello"}]}],
)
print(answer["output"]["message"]["content"][0]["text"])
