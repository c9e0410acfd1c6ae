import os
from anthropic import Anthropic

client = Anthropic(base_url="GATEWAY_URL", api_key=os.environ["TOLLGATE_KEY"])
answer = client.messages.create(
    model="MODEL_NAME",
    max_tokens=256,
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.content[0].text)
