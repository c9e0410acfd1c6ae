import os
from openai import OpenAI

client = OpenAI(base_url="GATEWAY_URL/v1", api_key=os.environ["TOLLGATE_KEY"])
answer = client.responses.create(model="MODEL_NAME", input="Hello")
print(answer.output_text)
