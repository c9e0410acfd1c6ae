import os
from langchain_anthropic import ChatAnthropic

model = ChatAnthropic(model="MODEL_NAME", base_url="GATEWAY_URL", api_key=os.environ["TOLLGATE_KEY"])
print(model.invoke("Hello").text)
