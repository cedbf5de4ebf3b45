"""A model of KServe, twice its input, and its server: `python kserve_model.py --http_port N --grpc_port M`."""

import argparse

import kserve
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Twice(Model):
    def __init__(self) -> None:
        super().__init__("louder")
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        array = payload.inputs[0].as_numpy()
        output = InferOutput("louder", list(array.shape), "FP32")
        wants_bytes = (payload.parameters or {}).get("binary_data_output") is True
        output.set_data_from_numpy(array * 2, binary_data=wants_bytes)
        return InferResponse("x", self.name, [output])


if __name__ == "__main__":
    parsed, _ = argparse.ArgumentParser(parents=[kserve.model_server.parser]).parse_known_args()
    ModelServer(workers=1).start([Twice()])
