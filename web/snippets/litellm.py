import os
from litellm import completion

answer = completion(
    model="openai/MODEL_NAME",
    api_base="GATEWAY_URL/v1",
    api_key=os.environ["TOLLGATE_KEY"],
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)
