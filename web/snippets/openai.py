import os
from openai import OpenAI

client = OpenAI(base_url="GATEWAY_URL/v1", api_key=os.environ["TOLLGATE_KEY"])
answer = client.chat.completions.create(
    model="MODEL_NAME",
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)
