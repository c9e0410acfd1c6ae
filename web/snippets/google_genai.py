import os
from google import genai
from google.genai import types

client = genai.Client(
    api_key=os.environ["TOLLGATE_KEY"],
    http_options=types.HttpOptions(base_url="GATEWAY_URL"),
)
answer = client.models.generate_content(model="MODEL_NAME", contents="Hello")
print(answer.text)
